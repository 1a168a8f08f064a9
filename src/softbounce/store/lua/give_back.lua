-- give_back: forget that a receiver acts on an id, if it still holds the id.
-- returns  1, or 0 where the key is another's by now, or gone
-- KEYS[1]  string  who acts, or "done"
local holder = ARGV[1]

if redis.call("GET", KEYS[1]) == holder then
  return redis.call("DEL", KEYS[1])
end
return 0
