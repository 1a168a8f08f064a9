-- acknowledge: acknowledges accepted reports and deletes them from their stream, in one step: a crash between two steps would leave
-- an entry for ever. It is a script because a full server takes no command into a MULTI, not even one that frees.
-- KEYS[1]  stream  event, reply
-- returns  how many were there
local group = ARGV[1] -- then the entries' ids
local ids = { unpack(ARGV, 2) }

local gone = redis.call("XDEL", KEYS[1], unpack(ids))
redis.call("XACK", KEYS[1], group, unpack(ids))
return gone
