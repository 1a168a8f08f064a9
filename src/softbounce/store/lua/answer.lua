-- answer: tells waiting producers what became of their reports. Where the server refuses a reply, it is left out.
-- effects  each list gets its reply and its expiry in one step, and holds `most` replies at the most
-- returns  how many were told
-- KEYS  lists  of replies, JSON; one of them for each reply
local kept, most = ARGV[1], tonumber(ARGV[2]) -- s, replies; then the replies
local told = 0

for n, key in ipairs(KEYS) do
  local length = redis.pcall("LLEN", key) -- an error where the key is of another type
  if type(length) == "number" and length < most and type(redis.pcall("RPUSH", key, ARGV[n + 2])) == "number" then
    redis.call("EXPIRE", key, kept)
    told = told + 1
  end
end
return told
