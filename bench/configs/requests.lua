-- Requests for wrk: BENCH_BEFORE, the number of a table, BENCH_BETWEEN, the number of a request, BENCH_AFTER.
-- With BENCH_DISTINCT=1 no two requests have the same number, so nothing can be shared.
local before, between, after = os.getenv("BENCH_BEFORE"), os.getenv("BENCH_BETWEEN"), os.getenv("BENCH_AFTER")
local tables, distinct = tonumber(os.getenv("BENCH_TABLES")), tonumber(os.getenv("BENCH_DISTINCT"))
local sent = tonumber(os.getenv("BENCH_FIRST"))

request = function()
  sent = sent + distinct
  return before .. (sent % tables) .. between .. sent .. after
end
