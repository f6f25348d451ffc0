"""What a tenant's user may do: by name, never by category.

A category grows with the server's version, and ``-@dangerous -@admin -@scripting`` still leaves SCAN and RANDOMKEY
(others' keys), DBSIZE (their number), CLIENT TRACKING (what they change) and SELECT, MOVE (numbered databases that
no key pattern knows).

Left out on purpose, though they keep to the key pattern: SETRANGE and SETBIT, BITOP, COPY, the ``…STORE`` commands
and RESTORE (they make much memory of a short command), LCS (quadratic), blocking commands, OBJECT, DUMP and
scripts.
"""

from __future__ import annotations

_READ = """
    exists get getrange hexists hget hgetall hkeys hlen hmget hscan hstrlen hvals lindex llen lrange mget pttl
    scard sismember smembers smismember sscan strlen ttl type zcard zcount zrange zrangebyscore zrank zrevrange
    zrevrangebyscore zrevrank zscan zscore
"""
_SHRINK = """
    del expire expireat getdel getex hdel lpop lrem ltrim pexpire pexpireat rpop spop srem unlink zpopmax zpopmin
    zrem zremrangebyrank zremrangebyscore
"""
_CONNECTION = "discard exec multi ping psubscribe publish punsubscribe subscribe unsubscribe unwatch watch"
_ADD = """
    append decr decrby getset hincrby hincrbyfloat hmset hset hsetnx incr incrby incrbyfloat lpush mset msetnx
    persist psetex rpush sadd set setex setnx zadd zincrby
"""

ALWAYS = frozenset(f"{_READ} {_SHRINK} {_CONNECTION}".split())
"""Read, let expire and delete; transactions; messages on the tenant's own channels, which nothing keeps."""
ADDING = frozenset(_ADD.split())
"""What a tenant over its quota loses: whatever adds data, or takes its expiry away."""
ALLOWED = ALWAYS | ADDING
"""All. AUTH, HELLO, QUIT and RESET need no leave: the server takes them from anybody."""
