-- suppress: refuses sends to one recipient until a time, or for ever, by one cause; what stands for other causes stays.
-- While an incident of the group (cause.b) is open, a new cause is provisional: `incident` names the case, `full` is what z becomes if a
-- person confirms it.
-- needs: audit now xadd count_suppression limits join
-- gives: suppress
local function note(cause, field)
  xadd(audit, { at = now, actor = "policy", action = "suppress", what = "r_" .. field, reason = cause.code })
end

local function begin(cause, field, event)
  cause.incident = cause.b and count_suppression(event, cause)
  if cause.incident then
    cause.full, cause.z = cause.z, now + limits.brake["for"]
  end
  note(cause, field)
end

-- also: the field of another spelling, or nil; it gets no address. Returns the entry that is in force.
local function suppress(event, field, also, cause)
  local entry, kept = join(field, cause, begin, event)
  if also then
    local address = kept.address
    kept.address = nil
    join(also, kept, note)
    kept.address = address
  end
  return entry
end
