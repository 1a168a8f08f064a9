-- reschedule: moves waiting retries to another time for a person.
-- effects  urgent: due now, despite quiet hours and pauses; otherwise due at its own time again, after a pause
-- returns  for each delivery "done", or "gone" where nothing waits
-- keys: schedule deliveries history audit meta

local entry = cjson.decode(ARGV[1]) -- actor, action, what, reason; then deliveries
local is_urgent = ARGV[2] == "urgent"

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history

local answers = {}
for n = 3, #ARGV do
  local id = ARGV[n]
  local record, payload, recipients = read_record(id)
  if record and record.s == "waiting" then
    if is_urgent then
      record.q, record.d = math.max(record.q or 0, 1), math.floor(now / 1000) -- 2 stays: a retry released despite its deadline has none
      remember(id, string.format('"k":"hurried","a":%d,"n":%s}', record.a, cjson.encode(entry.actor .. ": " .. entry.reason)))
    end
    record.w = nil
    zadd(schedule, math.max(now, record.d * 1000), id)
    write_record(id, record, payload, recipients)
    answers[n - 2] = "done"
  else
    answers[n - 2] = "gone"
  end
end
entry.at = now
xadd(audit, entry)
write_changes()
return answers
