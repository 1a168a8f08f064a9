-- take_back: a lease that ends with nothing begun: it waits on, without the strike of this lease; those of crashes before it stay.
-- gives: take_back
local function take_back(record)
  record.s = "waiting"
  record.k = (record.k or 1) > 1 and record.k - 1 or nil
  record.kt = record.k and record.kt
end
