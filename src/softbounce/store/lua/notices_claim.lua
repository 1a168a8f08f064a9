-- notices_claim: leases due notices and groups; what is not finished comes again after its lease, under the same id.
-- effects  the first claim fixes what a group has collected, so that it comes again unchanged, without cases that were closed
--          meanwhile. A group that collected nothing since it was told is deleted
-- returns  {{id, body} for each notice}, {{name, {at, n, since, samples}} for each group}
-- keys: notices notice_bodies groups group_turns cases meta

local limit, lease = tonumber(ARGV[1]), tonumber(ARGV[2]) -- Lua's stack has room for 4,000 at once

-- include: shared/full_store
-- include: shared/clock

local function is_closed(sample)
  local raw = not sample.how and redis.call("HGET", cases, sample.case) -- with `how` the notice is about the closing itself
  return raw and cjson.decode(raw).state == "resolved"
end

local function fix(group)
  local open = {}
  for _, sample in ipairs(group.samples) do
    if not is_closed(sample) then
      table.insert(open, sample)
    end
  end
  local left = group.n - #group.samples + #open
  group.out = left > 0 and { at = now, n = left, since = group.since, samples = open } or nil
  group.n, group.samples, group.since = 0, {}, nil
end

local found, leases = {}, {}
local ids = redis.call("ZRANGEBYSCORE", notices, "-inf", now, "LIMIT", 0, limit)
for n, body in ipairs(#ids > 0 and redis.call("HMGET", notice_bodies, unpack(ids)) or {}) do
  if body then
    table.insert(found, { ids[n], body })
    leases[#leases + 1], leases[#leases + 2] = now + lease, ids[n]
  else
    redis.call("ZREM", notices, ids[n])
  end
end
if #found > 0 then
  redis.call("ZADD", notices, unpack(leases))
end
local grouped = {}
for _, name in ipairs(redis.call("ZRANGEBYSCORE", group_turns, "-inf", now, "LIMIT", 0, limit)) do
  local raw = redis.call("HGET", groups, name)
  local group = raw and cjson.decode(raw) or { n = 0, samples = {} }
  if not group.out then
    fix(group)
  end
  if group.out then
    redis.call("HSET", groups, name, cjson.encode(group))
    redis.call("ZADD", group_turns, now + lease, name)
    table.insert(grouped, { name, cjson.encode(group.out) })
  else
    redis.call("ZREM", group_turns, name)
    redis.call("HDEL", groups, name)
  end
end
return { found, grouped }
