-- found: give a field of the store's own facts its value once, also when memory is full.
-- returns  the value that holds from now on
local meta = KEYS[1] -- hash  key, key_fingerprint, epoch

redis.call("HDEL", meta, "") -- frees nothing, but lets the script run to its end when memory is full
redis.call("HSETNX", meta, ARGV[1], ARGV[2])
return redis.call("HGET", meta, ARGV[1])
