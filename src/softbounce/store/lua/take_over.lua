-- take_over: takes entries that another worker has read and not acknowledged for some time, one at a time, until there are enough
-- entries or enough bytes.
-- effects  the entries are pending for this worker, each with one delivery more
-- returns  {the entries, as shared/entries says, how often each was delivered}
-- KEYS[1]  stream  event, reply
local group, consumer, idle = ARGV[1], ARGV[2], ARGV[3] -- idle: ms
local count, budget, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]) -- entries; bytes of all; bytes of one

-- include: shared/entries

local deliveries, cursor = {}, "0-0"
repeat
  local before = seen
  local found = redis.call("XAUTOCLAIM", KEYS[1], group, consumer, idle, cursor, "COUNT", 1)
  cursor = found[1]
  for _, entry in ipairs(found[2]) do
    if entry and entry[2] then -- some servers list an entry that was deleted meanwhile
      keep(entry)
      local pending = redis.call("XPENDING", KEYS[1], group, entry[1], entry[1], 1)
      deliveries[#deliveries + 1] = pending[1] and pending[1][4] or 1
    end
  end
until seen == before or cursor == "0-0" or seen >= count or bytes >= budget
return { answer, deliveries }
