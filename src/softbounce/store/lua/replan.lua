-- replan: gives waiting retries the times of another policy; each keeps the number of its try.
-- effects  writes due, deadline, last try, rule and revision. A dropped one is due now and past its deadline, so that claim gives it up
-- returns  for each "done", or "gone" where it is due, or has changed since it was read; that one stays as it is
-- keys: schedule deliveries history audit meta

local entry = cjson.decode(ARGV[1]) -- actor, action, what, reason
local revision = ARGV[2]
local FIRST, EACH = 3, 3 -- then for each: delivery, {attempt, was_due: as read; due, deadline, last: wanted (s); waits_for}, payload

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history

local answers = {}
for arg = FIRST, #ARGV, EACH do
  local id, move = ARGV[arg], cjson.decode(ARGV[arg + 1])
  local record, _, recipients = read_record(id)
  if record and record.s == "waiting" and record.a == move.attempt and record.d == move.was_due and record.d * 1000 > now then
    local due = math.max(move.due, math.floor(now / 1000))
    record.d, record.x, record.n, record.w = due, move.deadline, move.last, move.waits_for
    remember(id, string.format('"k":"replanned","a":%d,"d":%d,"n":%s}', record.a, due, cjson.encode("policy " .. revision)))
    write_record(id, record, ARGV[arg + 2], recipients)
    zadd(schedule, due * 1000, id)
    answers[#answers + 1] = "done"
  else
    answers[#answers + 1] = "gone"
  end
end
entry.at = now
xadd(audit, entry)
write_changes()
return answers
