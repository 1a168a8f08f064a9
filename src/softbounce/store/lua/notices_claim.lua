-- notices_claim: lease notices that are due; one that is not finished comes again after its lease, under the same id.
-- returns  {id, body} for each
local notices = KEYS[1] -- zset  notice -> due, or end of lease (ms)
local notice_bodies = KEYS[2] -- hash  notice -> body
local meta = KEYS[3] -- hash  now

local limit, lease = tonumber(ARGV[1]), tonumber(ARGV[2])

-- include: clock

local found = {}
for _, id in ipairs(redis.call("ZRANGEBYSCORE", notices, "-inf", now, "LIMIT", 0, limit)) do
  local body = redis.call("HGET", notice_bodies, id)
  if body then
    redis.call("ZADD", notices, now + lease, id)
    table.insert(found, { id, body })
  else
    redis.call("ZREM", notices, id)
  end
end
return found
