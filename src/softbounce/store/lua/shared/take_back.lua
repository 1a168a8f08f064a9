-- take_back: ends a lease with nothing begun: the retry waits on, without this lease's strike; strikes of earlier crashes stay.
-- gives: take_back
local function take_back(record)
  record.s = "waiting"
  record.k = (record.k or 1) > 1 and record.k - 1 or nil
  record.kt = record.k and record.kt
end
