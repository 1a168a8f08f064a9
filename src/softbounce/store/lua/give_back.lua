-- give_back: deletes a receiver's lease of an id, if it still holds it.
-- returns  1, or 0 where another holds the id by now, or nobody
-- KEYS[1]  string  who acts, or "done"
local holder = ARGV[1]

if redis.call("GET", KEYS[1]) == holder then
  return redis.call("DEL", KEYS[1])
end
return 0
