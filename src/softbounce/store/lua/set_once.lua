-- set_once: sets a field of a new store's own facts once, also when memory is full. There is one hash key; a new one is taken only where
-- nothing was hashed yet, because under another key nobody would find what the store holds.
-- returns  {key, key_fingerprint, epoch} as they are from now on
-- keys: meta suppressions deliveries standing
local field, value, origin = ARGV[1], ARGV[2], ARGV[3] -- field: key, key_fingerprint or epoch; origin of a key: new or known

-- include: shared/full_store
local is_key = field ~= "epoch"
local has_key = redis.call("HEXISTS", meta, "key") + redis.call("HEXISTS", meta, "key_fingerprint") > 0
local is_too_late = origin == "new" and redis.call("EXISTS", suppressions, deliveries, standing) > 0
if not (is_key and (has_key or is_too_late)) then
  redis.call("HSETNX", meta, field, value)
end
return redis.call("HMGET", meta, "key", "key_fingerprint", "epoch")
