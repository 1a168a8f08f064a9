-- causes: why a recipient is on the suppression list. An entry keeps each of its causes with its own end, and mirrors the strongest.
-- Consent (complaint, opt-out) is stronger than a person's word, that than a bounce, that than the echo of a provider's list. A cause
-- that is provisional is weaker than any other: it alone lets a message wait for its incident.
-- Cause   code, origin, at, z (its end, ms; absent: never), evidence (ids of reports), rule, line, revision, by, reason; channel, mask
--         and address of the recipient; and
--         d      the delivery whose report made it; absent as soon as a report of another delivery is evidence, too: then it is `first`
--         dated  of consent: the newest date (ms) of its reports, of those whose date is to be believed
--         b, incident, full   its group of the brake; while it is provisional: the case, and its end once a person confirms it
-- Entry   its only cause, as above. Of several: the strongest one, with the latest end as z, and `causes`, the strongest first. Gates
--         look for "z", "a" and "incident" in the text of an entry, so in there the end is `ends` and the incident `case`
-- The field `recipient@` mirrors in the same way the consents of all merchants, for who asks without a merchant; each such cause
-- names its `merchant`. meta counts these fields as `consent_fields`.
-- needs: suppressions cancels meta now hget hset hdel
-- gives: is_consent causes_of write_causes join lift
local CONSENT = { COMPLAINT = true, OPT_OUT = true }
local RANKS = { event = 3, provider = 4 } -- by origin; of any other origin a person has said it
local MOST_EVIDENCE = 5
local MOST_CAUSES = 10 -- of an entry; of more the one that ends first goes

local function is_consent(code)
  return CONSENT[code] == true
end

local function rank_of(cause)
  return CONSENT[cause.code] and 1 or RANKS[cause.origin] or 2
end

local function later(one, other) -- of two ends
  return one and other and math.max(one, other) or nil
end

local function is_stronger(one, other)
  if (not one.incident) ~= (not other.incident) then
    return not one.incident
  elseif rank_of(one) ~= rank_of(other) then
    return rank_of(one) < rank_of(other)
  elseif one.z ~= other.z then
    return later(one.z, other.z) == one.z
  elseif one.code ~= other.code then
    return one.code < other.code
  elseif one.origin ~= other.origin then
    return one.origin < other.origin
  end
  return (one.merchant or "") < (other.merchant or "")
end

-- Returns the causes of a field, ended ones too.
local function causes_of(field)
  local raw = hget(suppressions, field)
  if not raw then
    return {}
  end
  local entry = cjson.decode(raw)
  if not entry.causes then
    return { entry }
  end
  for _, cause in ipairs(entry.causes) do
    cause.z, cause.ends, cause.incident, cause.case = cause.ends, nil, cause.case, nil
    cause.channel, cause.mask, cause.address = entry.channel, entry.mask, entry.address
  end
  return entry.causes
end

local function standing_in(causes)
  local found = {}
  for _, cause in ipairs(causes) do
    if not cause.z or cause.z > now then
      found[#found + 1] = cause
    end
  end
  return found
end

local function copy_of(cause)
  local copy = {}
  for name, value in pairs(cause) do
    copy[name] = value
  end
  return copy
end

-- Leaves no more causes than an entry may have; they are sorted, the strongest first.
local function shorten(causes)
  while #causes > MOST_CAUSES do
    local first = #causes -- they are sorted, so consent is last only where all of them are
    for n = #causes - 1, 1, -1 do
      local is_sooner = later(causes[first].z, causes[n].z) ~= causes[n].z
      if is_sooner and (not is_consent(causes[n].code) or is_consent(causes[first].code)) then
        first = n
      end
    end
    table.remove(causes, first)
  end
end

-- Writes those of the causes that have not ended, or deletes the field. Returns the entry, nil where none is left.
local function write_field(field, causes)
  local kept = standing_in(causes)
  if not kept[1] then
    hdel(suppressions, field)
    return nil
  end
  local entry = kept[1]
  if kept[2] then
    table.sort(kept, is_stronger)
    shorten(kept)
    entry = copy_of(kept[1])
    entry.causes = {}
    for n, cause in ipairs(kept) do
      entry.z = later(entry.z, cause.z)
      entry.address = entry.address or cause.address
      entry.mask = (entry.mask or "") ~= "" and entry.mask or cause.mask
      local nested = copy_of(cause)
      nested.ends, nested.z, nested.case, nested.incident = cause.z, nil, cause.incident, nil
      nested.channel, nested.mask, nested.address = nil, nil, nil
      entry.causes[n] = nested
    end
  end
  hset(suppressions, field, cjson.encode(entry))
  return entry
end

-- Mirrors the consents of one merchant in the field of all merchants, where they have changed.
local function mirror_consent(field, causes)
  local rid, merchant = string.match(field, "^([^@]*)@(.+)$")
  if not merchant then
    return
  end
  local known, all = causes_of(rid .. "@"), {}
  for _, cause in ipairs(known) do
    if cause.merchant ~= merchant then
      all[#all + 1] = cause
    end
  end
  for _, cause in ipairs(causes) do
    if is_consent(cause.code) then
      all[#all + 1] = {
        merchant = merchant, code = cause.code, origin = cause.origin, at = cause.at, z = cause.z, rule = cause.rule, by = cause.by,
        reason = cause.reason, channel = cause.channel, mask = cause.mask,
      }
    end
  end
  local is_kept = write_field(rid .. "@", all) ~= nil
  if is_kept ~= (known[1] ~= nil) then
    local count = tonumber(hget(meta, "consent_fields")) or 0
    hset(meta, "consent_fields", string.format("%d", count + (is_kept and 1 or -1)))
  end
end

-- Writes what has become of a field's causes. has_changed: a consent among them has. Returns the entry, nil where none is left.
local function write_causes(field, causes, has_changed)
  if has_changed then
    mirror_consent(field, causes)
  end
  return write_field(field, causes)
end

-- Adds to a cause what another of its code and origin says. Returns whether that says anything new; the order of both does not matter.
local function add_to(old, new)
  local is_news, evidence, is_known = new.at < old.at, old.evidence or {}, {}
  local says_more = not (new.evidence and new.evidence[1]) -- an entry that comes back from an export says nothing of its own
  for _, report in ipairs(evidence) do
    is_known[report] = true
  end
  for _, report in ipairs(new.evidence or {}) do
    says_more = says_more or not is_known[report]
    if #evidence < MOST_EVIDENCE and not is_known[report] then
      evidence[#evidence + 1], is_known[report], is_news = report, true, true
    end
  end
  old.at, old.evidence = math.min(old.at, new.at), evidence[1] and evidence -- an empty list would be written as an object
  old.mask, old.address = old.mask ~= "" and old.mask or new.mask, old.address or new.address
  if old.d ~= new.d and says_more then
    old.first, old.d = old.first or old.d, nil
  end
  old.dated = old.dated and new.dated and math.max(old.dated, new.dated) or old.dated or new.dated
  if old.b and old.b ~= new.b and says_more then -- it has evidence of another kind, so no incident's undo may lift it
    if old.incident then
      old.z, is_news = later(old.z, new.z), true
    end
    old.full, old.incident, old.b = nil, nil, nil
  end
  if old.incident then
    old.full = later(old.full, new.z)
  elseif old.z ~= new.z and later(old.z, new.z) == new.z then
    old.z, old.rule, old.line, old.revision, old.by, old.reason = new.z, new.rule, new.line, new.revision, new.by, new.reason
    is_news = true
  end
  return is_news
end

-- Adds a cause to a field. One of its code and origin that stands gains its evidence and the later end; before a new one is written,
-- when_new(cause, field, ...) is called. Returns the entry, the cause as it stands there, and whether that says anything new.
local function join(field, cause, when_new, ...)
  if cause.address and hget(cancels, "forgotten:" .. string.match(field, "^[^@]*")) then
    cause.address = nil -- `recipients forget` holds for what comes later as well
  end
  local is_first = not hget(suppressions, field)
  local causes = is_first and {} or standing_in(causes_of(field))
  for n = 1, #causes do
    local known = causes[n]
    if known.code == cause.code and known.origin == cause.origin then
      local is_news = add_to(known, cause)
      return write_causes(field, causes, is_consent(cause.code)), known, is_news
    end
  end
  if when_new then
    when_new(cause, field, ...)
  end
  if is_first and not is_consent(cause.code) then -- the usual case is made short
    hset(suppressions, field, cjson.encode(cause))
    return cause, cause, true
  end
  causes[#causes + 1] = cause
  return write_causes(field, causes, is_consent(cause.code)), cause, true
end

-- Removes the causes of a field for which is_lifted(cause) is true, and returns them.
local function lift(field, is_lifted)
  local kept, lifted, has_changed = {}, {}, false
  for _, cause in ipairs(causes_of(field)) do
    if is_lifted(cause) then
      lifted[#lifted + 1] = cause
      has_changed = has_changed or is_consent(cause.code)
    else
      kept[#kept + 1] = cause
    end
  end
  if lifted[1] then
    write_causes(field, kept, has_changed)
  end
  return lifted
end
