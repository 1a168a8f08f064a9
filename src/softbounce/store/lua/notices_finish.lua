-- notices_finish: forget notices that were told.
local notices = KEYS[1] -- zset  notice -> due, or end of lease (ms)
local notice_bodies = KEYS[2] -- hash  notice -> body

for _, id in ipairs(ARGV) do
  redis.call("ZREM", notices, id)
  redis.call("HDEL", notice_bodies, id)
end
return #ARGV
