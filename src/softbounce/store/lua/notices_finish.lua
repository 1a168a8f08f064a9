-- notices_finish: forget notices that were told.
local notices = KEYS[1] -- zset  notice -> due, or end of lease (ms)
local notice_bodies = KEYS[2] -- hash  notice -> body

redis.call("ZREM", notices, unpack(ARGV))
redis.call("HDEL", notice_bodies, unpack(ARGV))
return #ARGV
