# The operator, with openssl, which makes certificates; and what its Jobs need: restic, and PostgreSQL's clients.
ARG BASE_IMAGE=debian:trixie-slim
FROM ${BASE_IMAGE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
         python3 python3-venv ca-certificates openssl tzdata restic postgresql-client \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && useradd --uid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin nonroot
# pg_dump must be of its server's own major version. Debian has one of them, PostgreSQL's own archive
# (https://wiki.postgresql.org/wiki/Apt) all; its key is in a package of Debian's. They lie where postgres_clients.py looks:
# /usr/lib/postgresql/<major>/bin. --build-arg PGDG= leaves it at Debian's.
ARG PGDG=https://apt.postgresql.org/pub/repos/apt
ARG POSTGRES_MAJORS="15 16 17"
RUN if [ -n "$PGDG" ]; then \
      set -e; cd /tmp; . /etc/os-release; key=/usr/share/postgresql-common/pgdg/apt.postgresql.org.asc; \
      apt-get update; apt-get download postgresql-common; \
      dpkg --extract postgresql-common_*.deb /tmp/pgdg; \
      install -D --mode=644 "/tmp/pgdg$key" "$key"; \
      echo "deb [signed-by=$key] $PGDG $VERSION_CODENAME-pgdg main" > /etc/apt/sources.list.d/pgdg.list; \
      apt-get update; \
      DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        $(for major in $POSTGRES_MAJORS; do echo "postgresql-client-$major"; done); \
      rm -rf /tmp/pgdg /tmp/postgresql-common_*.deb /var/lib/apt/lists/* /var/cache/apt/* /var/log/*; \
    fi
COPY requirements.lock /tmp/
# Where a folder of wheels is given, nothing is fetched: --build-arg WHEELS=/wheels --volume …:/wheels
ARG WHEELS=""
RUN python3 -m venv /opt/operator \
    && /opt/operator/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
         ${WHEELS:+--no-index --find-links "$WHEELS"} --requirement /tmp/requirements.lock \
    && /opt/operator/bin/pip uninstall --yes pip \
    && rm /tmp/requirements.lock \
    && mkdir -p /opt/odoo-lib/odoo/addons \
    && cp -r /opt/operator/lib/python3*/site-packages/redis /opt/odoo-lib/redis \
    && printf '#!/bin/sh\nexec /opt/operator/bin/python3 -m odoo_tenancy.runtime "$@"\n' \
         > /usr/local/bin/odoo-tenancy-operator \
    && chmod 755 /usr/local/bin/odoo-tenancy-operator
ENV PATH=/opt/operator/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/operator/src PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What tenants' pods copy: the addon for Odoo, and above redis-py, which Odoo's image does not have.
COPY operator/odoo_addons /opt/odoo-lib/odoo/addons
# The operator's own code last: a change of it is one small layer.
COPY operator/odoo_tenancy /opt/operator/src/odoo_tenancy
USER 65532:65532
ENTRYPOINT ["odoo-tenancy-operator"]
