-- suppress: refuses sends to one recipient until a time, or for ever. Returns the entry that is in force.
-- A later report never weakens an entry that a person made or that lasts longer; it adds its evidence. While an incident of the group
-- (entry.b) is open, a new entry is provisional: `incident` names the case, `full` is what z becomes if a person confirms it.
-- needs: suppressions audit now hget hset xadd count_suppression limits
-- gives: suppress
local function suppress(event, field, entry)
  local old = hget(suppressions, field)
  if old then
    old = cjson.decode(old)
    if not old.z or old.z > now then
      for _, report in ipairs(entry.evidence) do
        if #old.evidence < 5 then
          table.insert(old.evidence, report)
        end
      end
      if old.b and old.b ~= entry.b then -- it has evidence of another group, so no incident's undo may lift it
        if old.incident then
          old.z = entry.z
        end
        old.full, old.incident, old.b = nil, nil, nil
      end
      if old.incident then
        old.full = entry.z
      elseif not entry.z or (old.z and entry.z > old.z) then
        old.z = entry.z
      end
      hset(suppressions, field, cjson.encode(old))
      return old
    end
  end
  entry.incident = entry.b and count_suppression(event, entry)
  if entry.incident then
    entry.full, entry.z = entry.z, now + limits.brake["for"]
  end
  hset(suppressions, field, cjson.encode(entry))
  xadd(audit, { at = now, actor = "policy", action = "suppress", what = "r_" .. field, reason = entry.code })
  return entry
end
