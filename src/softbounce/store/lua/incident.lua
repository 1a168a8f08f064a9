-- incident: undoes or confirms some suppressions of an incident; repeating it is harmless.
-- effects  undo: deletes the entry and what its reports left in the recipient's counts; the message that it had ended is held by the
--          incident, if its address is known. confirm: a provisional entry gets its full term
-- returns  how many entries it changed, or -1 where the incident is unknown
-- keys: suppressions deliveries standing cases members history meta

local incident, how = ARGV[1], ARGV[2] -- the case; undo or confirm; then fields of suppressions

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history

local raw = hget(cases, incident)
local case = raw and cjson.decode(raw)
if not case or not case.brake then
  return -1
end

local function forget_reports(rid, entry)
  local known = hget(standing, rid)
  if known then
    known = cjson.decode(known)
    for n = #(known.m or {}), 1, -1 do
      if known.m[n][1] == string.sub(entry.d, 1, 12) then
        table.remove(known.m, n)
      end
    end
    known.m = known.m and next(known.m) and known.m or nil
    if known.c then
      known.c[entry.code] = nil
    end
    known.c = known.c and next(known.c) and known.c or nil
    hset(standing, rid, cjson.encode(known))
  end
end

local function hold_again(entry)
  local record, payload = read_record(entry.d)
  if case.state ~= "resolved" and type(entry.address) == "string" and record and record.e == "suppressed" then
    record.s, record.e, record.z, record.g = "held", nil, nil, case.group
    write_record(entry.d, record, payload, cjson.encode({ entry.address }))
    zadd(members, 0, case.group .. "\n\n" .. entry.d)
    remember(entry.d, string.format('"k":"held","a":%d,"c":"%s","n":"its suppression was undone"}', record.a, incident))
  end
end

local settled = 0
for n = 3, #ARGV do
  local field = ARGV[n]
  local found = hget(suppressions, field)
  local entry = found and cjson.decode(found)
  if entry and entry.b == case.brake and entry.at >= case.since and (not case.resolved or entry.at <= case.resolved) then
    if how == "undo" then
      forget_reports(string.match(field, "^[^@]*"), entry)
      hold_again(entry)
      hdel(suppressions, field)
      settled = settled + 1
    elseif entry.incident == incident then
      entry.z, entry.full, entry.incident = entry.full, nil, nil
      hset(suppressions, field, cjson.encode(entry))
      settled = settled + 1
    end
  end
end
case.settled = (case.settled or 0) + settled
hset(cases, incident, cjson.encode(case))
write_changes()
return settled
