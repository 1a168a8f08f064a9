-- finish: records how hand-overs ended, where the caller still holds the lease.
-- effects  handed_over: it leaves the schedule; later: it waits again, same try, same id; gone: the receiver cancelled it
-- returns  for each "done", also for a token that has finished before (its reply was lost), or "stale": nothing was changed
-- keys: schedule deliveries history counters meta

local keep = tonumber(ARGV[1]) -- ms that an ended delivery is remembered
local groups = cjson.decode(ARGV[2]) -- {r: result, delay, n: note, d: deliveries, t: their tokens} for each way to end

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/take_back

local handed_over = 0

-- Returns the answer, and whether the record is to be written.
local function finish_one(group, token, record)
  local result = group.r
  if not record or record.t ~= token then
    return "stale"
  elseif record.s ~= "leased" then
    local again = result == "later" and record.s == "waiting" or result ~= "later" and (record.s == "out" or record.s == "ended")
    return again and "done" or "stale"
  elseif result == "handed_over" then
    record.k, record.kt, record.w, record.q = nil, nil, nil, nil
    record.s, record.z = "out", now + keep
    handed_over = handed_over + 1
  elseif result == "later" then
    take_back(record)
    record.w = group.n
  else
    record.s, record.e, record.z = "ended", "cancelled", now + keep
  end
  return "done", true
end

local answers = {}
for _, group in ipairs(groups) do
  local ends = group.r ~= "later"
  local kind = group.r == "handed_over" and "resent" or "cancelled"
  local note = cjson.encode(group.n)
  local raws, references = hmget(deliveries, group.d), {}
  for n, id in ipairs(ends and group.d or {}) do
    references[n] = string.sub(id, 1, 12)
  end
  fetch(history, references)
  for n, id in ipairs(group.d) do
    local record, payload, recipients = parse_record(raws[n])
    local answer, is_changed = finish_one(group, group.t[n], record)
    answers[#answers + 1] = answer
    if is_changed then
      write_record(id, record, payload, ends and "" or recipients)
      if ends then
        zrem(schedule, id)
        remember(id, '"k":"' .. kind .. '","a":' .. record.a .. ',"n":' .. note .. "}")
      else
        zadd(schedule, now + group.delay, id)
      end
    end
  end
end
write_changes()
if handed_over > 0 then
  redis.call("HINCRBY", counters, "handed_over", handed_over)
end
return answers
