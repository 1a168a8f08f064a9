-- add: appends messages to a stream that the pipeline reads, all of them or none.
-- KEYS[1]  stream  id, and command or notice
-- returns  how many
local field = ARGV[1] -- then id, body for each

redis.call("XDEL", KEYS[1], "0-1") -- deletes nothing, but lets the script run to its end when memory is full
for n = 2, #ARGV, 2 do
  redis.call("XADD", KEYS[1], "*", "id", ARGV[n], field, ARGV[n + 1])
end
return (#ARGV - 1) / 2
