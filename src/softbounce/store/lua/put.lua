-- put: writes one field of a hash, workers or policies, also when memory is full.
-- returns  1 if the field is new, else 0
-- keys: hash
local field, value = ARGV[1], ARGV[2]

redis.call("HDEL", hash, "") -- it frees nothing; see shared/full_store
return redis.call("HSET", hash, field, value)
