-- read: reads unread entries for one worker, a few at a time, until there are enough entries or enough bytes.
-- effects  the entries are pending for that worker
-- returns  the entries, as shared/entries says
-- KEYS[1]  stream  event, reply
local group, consumer = ARGV[1], ARGV[2]
local count, budget, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]) -- entries; bytes of all; bytes of one
local STEP = 10 -- entries; a smaller step costs ordinary entries more, a larger one holds more oversize ones at once

-- include: shared/entries

while seen < count and bytes < budget do
  local found = redis.call(
    "XREADGROUP", "GROUP", group, consumer, "COUNT", math.min(STEP, count - seen), "STREAMS", KEYS[1], ">"
  )
  local stream = found and (type(found[1]) == "table" and found[1] or found) -- fakeredis leaves out the list of streams
  if not stream or not stream[2] then
    break
  end
  for _, entry in ipairs(stream[2]) do
    keep(entry)
  end
end
if bytes > budget then
  collectgarbage() -- frees the oversize entries
end
return answer
