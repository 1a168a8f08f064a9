-- notices_claim: lease notices that are due; one that is not finished comes again after its lease, under the same id.
-- returns  {id, body} for each
local notices = KEYS[1] -- zset  notice -> due, or end of lease (ms)
local notice_bodies = KEYS[2] -- hash  notice -> body
local meta = KEYS[3] -- hash  now

local limit, lease = tonumber(ARGV[1]), tonumber(ARGV[2]) -- Lua's stack has room for 4,000 at once

-- include: clock

local ids = redis.call("ZRANGEBYSCORE", notices, "-inf", now, "LIMIT", 0, limit)
if #ids == 0 then
  return {}
end
local found, leases = {}, {}
for n, body in ipairs(redis.call("HMGET", notice_bodies, unpack(ids))) do
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
return found
