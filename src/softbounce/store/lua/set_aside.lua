-- set_aside: what a worker has claimed and cannot read leaves its schedule; its bytes stay, and a person is told.
-- returns  how many; what has changed since the caller claimed it is left alone
local schedule = KEYS[1] -- zset  delivery -> due, or end of lease (ms)
local deliveries = KEYS[2] -- hash  delivery -> record
local notices = KEYS[3] -- zset  notice -> due, or end of lease (ms)
local notice_bodies = KEYS[4] -- hash  notice -> body
local cases = KEYS[5] -- hash  case -> entry
local open_cases = KEYS[6] -- hash  group -> case
local members = KEYS[7] -- zset  group, delivery (by name)
local damaged = KEYS[8] -- hash  delivery, or "notice:" and notice -> bytes that nobody can read
local meta = KEYS[9] -- hash  now, case

local are_notices = ARGV[1] == "notices" -- else deliveries; then name, bytes of each

-- include: shared/clock
-- include: shared/changes
-- include: shared/case
-- include: shared/set_aside

local gone = 0
for n = 2, #ARGV, 2 do
  local name, raw = ARGV[n], ARGV[n + 1]
  if hget(are_notices and notice_bodies or deliveries, name) == raw then
    set_aside(name, raw, are_notices)
    gone = gone + 1
  end
end
write_changes()
return gone
