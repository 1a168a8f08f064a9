-- group: makes a consumer group that starts at 0, and its stream, unless it exists; also when memory is full.
-- KEYS[1]  stream  event, reply
-- returns  1, or 0 where it existed
local name = ARGV[1]

redis.call("XDEL", KEYS[1], "0-1") -- deletes nothing, but lets the script run to its end when memory is full
local made = redis.pcall("XGROUP", "CREATE", KEYS[1], name, "0", "MKSTREAM")
if made.err then
  if string.find(made.err, "BUSYGROUP", 1, true) then
    return 0
  end
  return made
end
return 1
