-- incident: undoes or confirms some suppressions of an incident; repeating it is harmless. What stands for other causes stays.
-- effects  undo: lifts the incident's cause and what its reports left in the recipient's counts; the message that it had ended is held
--          by the incident, if its address is known. confirm: a provisional cause gets its full term
-- returns  how many causes it changed, or -1 where the incident is unknown
-- keys: suppressions deliveries standing cases members history meta cancels

local incident, how = ARGV[1], ARGV[2] -- the case; undo or confirm; then fields of suppressions

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/causes

local raw = hget(cases, incident)
local case = raw and cjson.decode(raw)
if not case or not case.brake then
  return -1
end

local function forget_reports(rid, cause)
  local known = hget(standing, rid)
  if known then
    known = cjson.decode(known)
    for n = #(known.m or {}), 1, -1 do
      if known.m[n][1] == string.sub(cause.d or cause.first, 1, 12) then
        table.remove(known.m, n)
      end
    end
    known.m = known.m and next(known.m) and known.m or nil
    if known.c then
      known.c[cause.code] = nil
    end
    known.c = known.c and next(known.c) and known.c or nil
    hset(standing, rid, cjson.encode(known))
  end
end

local function hold_again(cause)
  local id = cause.d or cause.first
  local record, payload = read_record(id)
  if case.state ~= "resolved" and type(cause.address) == "string" and record and record.e == "suppressed" then
    record.s, record.e, record.z, record.g = "held", nil, nil, case.group
    write_record(id, record, payload, cjson.encode({ cause.address }))
    zadd(members, 0, case.group .. "\n\n" .. id)
    remember(id, string.format('"k":"held","a":%d,"c":"%s","n":"its suppression was undone"}', record.a, incident))
  end
end

local function is_its_own(cause)
  return cause.b == case.brake and cause.at >= case.since and (not case.resolved or cause.at <= case.resolved)
end

local function undo(field)
  local lifted = lift(field, is_its_own)
  for _, cause in ipairs(lifted) do
    forget_reports(string.match(field, "^[^@]*"), cause)
    hold_again(cause)
  end
  return #lifted
end

local function confirm(field)
  local causes = causes_of(field)
  local confirmed = 0
  for _, cause in ipairs(causes) do
    if cause.incident == incident and is_its_own(cause) then
      cause.z, cause.full, cause.incident = cause.full, nil, nil
      confirmed = confirmed + 1
    end
  end
  if confirmed > 0 then
    write_causes(field, causes) -- no consent is provisional
  end
  return confirmed
end

local settled = 0
for n = 3, #ARGV do
  settled = settled + (how == "undo" and undo or confirm)(ARGV[n])
end
case.settled = (case.settled or 0) + settled
hset(cases, incident, cjson.encode(case))
write_changes()
return settled
