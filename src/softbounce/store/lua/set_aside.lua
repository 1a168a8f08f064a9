-- set_aside: takes what a worker has claimed and cannot read off its schedule, keeps its bytes, and tells a person.
-- returns  how many; what has changed since the caller claimed it is left alone
-- keys: schedule deliveries notices notice_bodies cases open_cases members damaged meta

local are_notices = ARGV[1] == "notices" -- else deliveries; then name, bytes of each

-- include: shared/full_store
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
