-- mark: writes or deletes fields of one hash for a person, with the audit entry; all of it or nothing.
-- effects  a field given "" is deleted. Cancels, pauses, modes and acknowledged cases are such fields
-- returns  the values before, "" for none
-- keys: hash audit meta

local entry = cjson.decode(ARGV[1]) -- actor, action, what, reason; then field, value pairs

-- include: shared/full_store
-- include: shared/clock

local before = {}
for n = 2, #ARGV, 2 do
  table.insert(before, redis.call("HGET", hash, ARGV[n]) or "")
  if ARGV[n + 1] == "" then
    redis.call("HDEL", hash, ARGV[n])
  else
    redis.call("HSET", hash, ARGV[n], ARGV[n + 1])
  end
end
entry.at = now
if #before == 1 then
  entry.before, entry.after = before[1], ARGV[3]
end
redis.call("XADD", audit, "*", "entry", cjson.encode(entry))
return before
