-- apply: lets every worker follow one policy, or its own file again, unless somebody else was faster.
-- effects  writes the wanted revision and the audit entry
-- returns  "done", or "stale": another revision is applied than the caller has seen; nothing was changed
-- keys: policies audit meta

local entry = cjson.decode(ARGV[1]) -- actor, action, what, reason
local seen, wanted = ARGV[2], ARGV[3] -- "" for each worker's own file

-- include: shared/full_store
-- include: shared/clock

local known = redis.call("HGET", policies, "applied")
local before = known and cjson.decode(known).revision or ""
if before ~= seen then
  return "stale"
elseif wanted == "" then
  redis.call("HDEL", policies, "applied")
else
  redis.call("HSET", policies, "applied", wanted)
end
entry.at, entry.before = now, cjson.encode(before) -- JSON, as every state in the audit
entry.after = cjson.encode(wanted ~= "" and cjson.decode(wanted).revision or "")
redis.call("XADD", audit, "*", "entry", cjson.encode(entry))
return "done"
