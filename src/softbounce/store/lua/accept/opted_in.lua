-- opted_in: takes one RECIPIENT_OPTED_IN. It lifts the consent that was withdrawn before it; in doubt a block stays, and a case opens.
-- needs: suppressions audit is_consent LATE now hget xadd causes_of lift is_standing open_case was_delivered note_delivery is_clock_right
-- gives: accept_opt_in

local function is_withdrawn(cause)
  return is_consent(cause.code) and (not cause.z or cause.z > now)
end

-- By the dates of both, in seconds: "before" the opt-in, "after" it, or "unsure". An opt-in without a date came later, as it was received
-- later; one that is dated before the receipt of a consent without a date may be older or newer.
local function order_of(event, cause)
  local ahead = event.src and math.floor((cause.dated or cause.at) / 1000) - math.floor(event.at / 1000)
  if not ahead or ahead <= 0 then
    return "before"
  end
  return cause.dated and ahead * 1000 > LATE and is_clock_right(event) and "after" or "unsure"
end

-- Returns what a person reads where consent stands at another scope than the opt-in's and refuses what it speaks of, else nil.
local function doubt_of_scope(event, rid)
  if event.m == "" then
    local is_at_one = is_standing(hget(suppressions, rid .. "@"))
    return is_at_one and "it names no merchant, and consent is withdrawn at one" or nil
  end
  for _, cause in ipairs(causes_of(rid)) do
    if is_withdrawn(cause) then
      return "it names a merchant, and consent is withdrawn from all"
    end
  end
end

-- Lifts what one recipient withdrew before. Returns why it is in doubt what the recipient wants (nil: it is not), and whether the opt-in
-- is older than what it would lift.
local function lift_consent(event, rid)
  local field, is_unsure, is_older = event.m == "" and rid or rid .. "@" .. event.m, false, false
  local lifted = lift(field, function(cause)
    local order = is_withdrawn(cause) and order_of(event, cause)
    is_unsure = is_unsure or order == "unsure"
    is_older = is_older or order == "after"
    return order == "before"
  end)
  if #lifted > 0 then
    xadd(audit, { at = now, actor = "policy", action = "opt in", what = "r_" .. field, reason = "event " .. event.id })
  end
  if is_unsure then
    return "it is dated before the withdrawal, by little or by a late clock", is_older
  end
  return not is_older and doubt_of_scope(event, rid) or nil, is_older
end

-- One case a recipient: a person asks each of them.
local function open_doubt(event, rid, shown, doubt)
  return open_case("opt_in_doubt\n" .. event.m .. "\n" .. event.ch .. "\n\n" .. rid, "", {
    kind = "opt_in_doubt", merchant = event.m, channel = event.ch, code = "", detail = doubt, recipient = rid, mask = shown,
    sample = event.id,
  })
end

-- Its outcome says what holds for all of its recipients.
local function accept_opt_in(event)
  if was_delivered(event.place) then -- the same id, or the same content, of the same recipients
    event.outcome = "duplicate"
    return
  end
  note_delivery(event.place)
  event.outcome = "opted_in"
  for n, rid in ipairs(event.rids) do
    local doubt, is_older = lift_consent(event, rid)
    if doubt then
      event.outcome, event.case = "held", open_doubt(event, rid, event.masks[n], doubt)
    elseif is_older and event.outcome == "opted_in" then
      event.outcome = "superseded"
    end
  end
end
