-- provider: what a claim changes at a provider: its breaker's state, the places of those that wait, the tokens of those that leave.
-- needs: now options in_hand touched tokens_of tell_closed
-- gives: news wait_for_provider pass_provider
-- Returns the providers whose breaker opened or closed, each with its state, once: the worker's log says it.
local function news()
  local told = {}
  for name, one in pairs(in_hand) do
    if one.head.y then
      told[#told + 1] = { name, one.head.s and "open" or "closed" }
      one.head.y, touched[name] = nil, one
    end
  end
  return told
end

-- A breaker that has moved on by itself is written once a retry has asked for it.
local function write_move(one)
  if one.closes then
    tell_closed(one, one.closes)
  end
  if one.closes or one.probes then
    one.closes, one.probes, touched[one.name] = nil, nil, one
  end
end

local function wait_for_provider(retry, place)
  local one = in_hand[retry.provider]
  write_move(one)
  one.head.q, touched[one.name] = place, one
end

local function pass_provider(retry)
  local one = in_hand[retry.provider]
  if not one then
    return
  end
  write_move(one)
  local head, left = one.head, tokens_of(one)
  if left then
    head.l, head.t, touched[one.name] = left - 1, now, one
  end
  if head.s == "half" then
    head.p, touched[one.name] = head.p - 1, one
  elseif one.breaker and options.silence_is_good then
    one.answers = string.sub(one.answers .. "+" .. math.floor(now / 1000), -11 * one.breaker.of_last) -- 11: a sign and a second
    touched[one.name] = one
  end
end
