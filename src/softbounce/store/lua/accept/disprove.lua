-- disprove: a message that was refused for good and arrived tells one story (docs/decisions/0014). The handset confirms a text, and so
-- disproves a verdict whose only evidence is that text; who takes an e-mail or a letter confirms no mailbox. Consent is no verdict.
-- needs: suppressions audit is_consent now xadd lift is_active open_case group_of case_facts finish_record parse_payload text
-- gives: disproves stays_suppressed end_contradicted
local function disproves(event) -- whether the arrival of its message speaks against a verdict on the recipient
  return event.ch == "sms" and not is_consent(event.code)
end

local function lift_disproved(event, merchant)
  local function is_disproved(cause)
    return cause.d == event.delivery and not is_consent(cause.code)
  end
  for _, field in ipairs({ event.rid, event.rid .. "@" .. merchant }) do
    if #lift(field, is_disproved) > 0 then
      local reason = "its message arrived, event " .. event.id
      xadd(audit, { at = now, actor = "policy", action = "lift", what = "r_" .. field, reason = reason })
    end
  end
end

-- Lifts what the arrival disproves. Returns whether its message stays suppressed all the same.
local function stays_suppressed(event)
  local record = event.record
  local is_suppressed = record.e == "suppressed"
  if not is_suppressed and record.s ~= "held" then -- an incident holds what it suppressed
    return false
  elseif event.ch ~= "sms" or event.rid == "" then
    return is_suppressed
  end
  local fields = parse_payload(event.old_payload)
  local merchant = fields and text(fields[4]) or ""
  lift_disproved(event, merchant)
  return is_suppressed and is_active(suppressions, event.rid, event.rid .. "@" .. merchant)
end

-- Ends a text whose arrival was reported before this verdict. Nobody is suppressed: a person asks the provider.
local function end_contradicted(event)
  event.case = open_case(group_of(event, "contradiction"), event.delivery, case_facts(event, "contradiction"))
  if event.record.s ~= "ended" then
    finish_record(event.delivery, event.record, "ended", "delivered")
  end
  event.outcome = "ended"
end
