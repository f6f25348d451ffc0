module odootenancy.io/dev/tools/pause

go 1.26
