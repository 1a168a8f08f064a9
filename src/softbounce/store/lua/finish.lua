-- finish: record how hand-overs ended, where the caller still holds the lease.
-- effects  handed_over: out of the schedule; later: waits again, same try, same id; gone: cancelled by the receiver
-- returns  for each "done", also when this token has finished before (the reply was lost, not the call), or "stale": nothing was changed
local schedule = KEYS[1] -- zset  delivery -> due, or end of lease (ms)
local deliveries = KEYS[2] -- hash  delivery -> record
local history = KEYS[3] -- hash  reference -> lines
local counters = KEYS[4] -- hash  outcome -> count
local meta = KEYS[5] -- hash  now

local keep = tonumber(ARGV[1]) -- ms that an ended delivery is remembered; then JSON {d, t, r, delay, n} for each

-- include: clock
-- include: record
-- include: history

local answers, handed_over = {}, 0
for n = 2, #ARGV do
  local result = cjson.decode(ARGV[n])
  local record, payload, recipients = read_record(result.d)
  local answer = "stale"
  if record and record.t == result.t and record.s == "leased" then
    answer = "done"
    if result.r == "handed_over" then
      record.k, record.kt = nil, nil
      redis.call("ZREM", schedule, result.d)
      record.s, record.z, record.w, record.q = "out", now + keep, nil, nil
      remember(result.d, string.format('"k":"resent","a":%d,"n":%s}', record.a, cjson.encode(result.n)))
      write_record(result.d, record, payload, "")
      handed_over = handed_over + 1
    elseif result.r == "later" then
      redis.call("ZADD", schedule, now + result.delay, result.d)
      record.s, record.w = "waiting", result.n
      record.k = (record.k or 1) > 1 and record.k - 1 or nil -- the strike of this lease; those of crashes before it stay
      write_record(result.d, record, payload, recipients)
    else
      redis.call("ZREM", schedule, result.d)
      record.s, record.e, record.z = "ended", "cancelled", now + keep
      remember(result.d, string.format('"k":"cancelled","a":%d,"n":%s}', record.a, cjson.encode(result.n)))
      write_record(result.d, record, payload, "")
    end
  elseif record and record.t == result.t and result.r ~= "later" and (record.s == "out" or record.s == "ended") then
    answer = "done"
  elseif record and record.t == result.t and result.r == "later" and record.s == "waiting" then
    answer = "done"
  end
  answers[n - 1] = answer
end
if handed_over > 0 then
  redis.call("HINCRBY", counters, "handed_over", handed_over)
end
return answers
