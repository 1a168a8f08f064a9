-- replayed: let go of dead letters that were reported again, unless they have come back meanwhile.
-- effects  a letter that was seen as often as the caller knows is deleted; one audit entry
-- returns  how many were deleted
local dead_letters = KEYS[1] -- hash  id -> entry
local audit = KEYS[2] -- stream
local meta = KEYS[3] -- hash  now

local entry = cjson.decode(ARGV[1]) -- actor, action, what, reason; then id, times seen
local retention = tonumber(ARGV[2])

-- include: clock

local deleted = 0
for n = 3, #ARGV, 2 do
  local letter = redis.call("HGET", dead_letters, ARGV[n])
  if letter and string.match(letter, '^{"n":(%d+)') == ARGV[n + 1] then
    deleted = deleted + redis.call("HDEL", dead_letters, ARGV[n])
  end
end
entry.at = now
redis.call("XADD", audit, "MINID", "~", string.format("%d", now - retention), "*", "entry", cjson.encode(entry))
return deleted
