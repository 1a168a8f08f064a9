-- forget: erase one recipient's address wherever it is kept; the hash and the block stay.
-- effects  suppressions and records of the recipient lose the address; a waiting retry ends, nobody could send it
-- returns  how many places lost an address
local schedule = KEYS[1] -- zset  delivery -> due (ms)
local deliveries = KEYS[2] -- hash  delivery -> record
local suppressions = KEYS[3] -- hash  recipient[@merchant] -> entry
local history = KEYS[4] -- hash  reference -> lines
local notice_bodies = KEYS[5] -- hash  notice -> body
local audit = KEYS[6] -- stream
local meta = KEYS[7] -- hash  now

local entry = cjson.decode(ARGV[1]) -- actor, action, what (the recipient's hash), reason
local options = cjson.decode(ARGV[2]) -- suppressions (fields), deliveries, notices (ids), and retention periods

-- include: clock
-- include: record
-- include: history

local erased = 0
for _, field in ipairs(options.suppressions) do
  local raw = redis.call("HGET", suppressions, field)
  if raw then
    local suppression = cjson.decode(raw)
    suppression.address = nil
    redis.call("HSET", suppressions, field, cjson.encode(suppression))
    erased = erased + 1
  end
end
for _, id in ipairs(options.deliveries) do
  local record, payload = read_record(id)
  if record then
    if record.s ~= "ended" and record.s ~= "out" then
      redis.call("ZREM", schedule, id)
      record.s, record.e, record.z = "ended", "cancelled", now + options.history_period
      remember(id, string.format('"k":"cancelled","a":%d,"n":"address erased"}', record.a))
    end
    write_record(id, record, payload, "")
    erased = erased + 1
  end
end
for _, id in ipairs(options.notices) do
  local body = redis.call("HGET", notice_bodies, id)
  if body then
    redis.call("HSET", notice_bodies, id, (string.gsub(body, "[^\n]*$", "[]")))
    erased = erased + 1
  end
end
entry.at = now
redis.call("XADD", audit, "MINID", "~", string.format("%d", now - options.audit), "*", "entry", cjson.encode(entry))
return erased
