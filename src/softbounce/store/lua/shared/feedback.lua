-- feedback: which merchants report what arrived, by channel. Without such reports the silence after a resend tells nothing.
-- feedback  merchant, channel -> {a: an arrival was reported (ms), n: how many resends have had no answer since, z: forget at (ms)}
-- needs: feedback now hget hset
-- gives: note_feedback has_feedback count_unanswered
local FEEDBACK_KEPT = 90 * 24 * 3600 * 1000 -- ms after the last arrival, or the last resend without an answer
local FEEDBACK_NOTED = 24 * 3600 * 1000 -- ms; one arrival a day is written

local function feedback_of(merchant, channel)
  local field = merchant .. "\n" .. channel
  local raw = hget(feedback, field)
  return raw and cjson.decode(raw) or {}, field
end

local function note_feedback(merchant, channel)
  local known, field = feedback_of(merchant, channel)
  if not known.a or known.a + FEEDBACK_NOTED <= now then
    hset(feedback, field, cjson.encode({ a = now, z = now + FEEDBACK_KEPT }))
  end
end

local function has_feedback(merchant, channel)
  return feedback_of(merchant, channel).a or feedback_of("", channel).a -- a short report names no merchant
end

local function count_unanswered(merchant, channel)
  local known, field = feedback_of(merchant, channel)
  hset(feedback, field, cjson.encode({ n = (known.n or 0) + 1, z = now + FEEDBACK_KEPT }))
end
