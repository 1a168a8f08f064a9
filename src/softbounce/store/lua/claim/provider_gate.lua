-- provider_gate: whether a provider takes one more resend now.
-- needs: breakers now hmget in_hand touched provider_of keep_entry close_breaker providers options
-- gives: read_providers news barred
local LEAST_SHARE = 0.02 -- of the rate, at the start of a ramp: it must begin with something
local is_any_provider = next(providers) ~= nil or redis.call("HLEN", breakers) > 0

-- One HMGET for all that are in hand.
local function read_providers(retries)
  local names, asked = {}, {}
  for _, retry in ipairs(is_any_provider and retries or {}) do
    local name = retry and provider_of(retry.fields)
    if retry then
      retry.provider = name
    end
    if name and not in_hand[name] and not asked[name] then
      names[#names + 1], asked[name] = name, true
    end
  end
  for n, raw in ipairs(hmget(breakers, names)) do
    keep_entry(names[n], raw)
  end
end

-- Gives one that must wait a place of its own, as far from the one before as the rate says: nobody comes back in vain together.
local function place_after(one, moment)
  local rate = one.rate or options.rate
  one.head.q = math.max(one.head.q or 0, moment) + rate.per / rate.count
  touched[one.name] = one
  return math.ceil(one.head.q)
end

local function begin_probes(one)
  local head, breaker = one.head, one.breaker
  if head.s ~= "half" then
    head.s, head.c, head.g, head.b, head.m, head.q = "half", now, 0, 0, nil, nil
  end
  head.p, head.u = breaker.probe, now + breaker.within
  touched[one.name] = one
end

-- The breaker's state as of now: what was open long enough is tried; a round of probes that nobody answered makes room for another.
local function move_on(one)
  local head = one.head
  if not head.s or now < head.u and (one.breaker or head.m) then
    return
  elseif not one.breaker then
    close_breaker(one, head.m and "its time is over" or "policy has no breaker for it")
  elseif head.s == "half" and options.silence_is_good and head.p < one.breaker.probe then
    close_breaker(one, "no probe failed")
  else
    begin_probes(one)
  end
end

-- How many may leave now, a token bucket that holds one second; nil: any number.
local function tokens_of(one)
  local head, ramp = one.head, one.breaker and one.breaker.ramp_up or 0
  local is_ramping = head.r and now < head.r + ramp
  local rate = one.rate or is_ramping and options.rate
  if not rate then
    return nil
  end
  local per_ms = rate.count / rate.per * (is_ramping and math.max(LEAST_SHARE, (now - head.r) / ramp) or 1)
  local most = math.max(1, 1000 * per_ms)
  return math.min(most, (head.l or most) + math.max(0, now - (head.t or now)) * per_ms)
end

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

-- Returns until when a retry waits for its provider, and why; nil: it leaves, and is counted.
local function barred(retry)
  local one = is_any_provider and in_hand[retry.provider]
  if not one then
    return nil
  end
  move_on(one)
  local head = one.head
  if head.s == "open" then
    return place_after(one, head.u), "breaker"
  elseif head.s == "half" and head.p < 1 then
    return place_after(one, now + one.breaker.base), "breaker"
  end
  local left = tokens_of(one)
  if left and left < 1 then
    return place_after(one, now), "rate"
  elseif left then
    head.l, head.t, touched[one.name] = left - 1, now, one
  end
  if head.s == "half" then
    head.p, touched[one.name] = head.p - 1, one
  elseif one.breaker and options.silence_is_good then
    one.answers = string.sub(one.answers .. "+" .. math.floor(now / 1000), -11 * one.breaker.of_last) -- 11: a sign and a second
    touched[one.name] = one
  end
end
