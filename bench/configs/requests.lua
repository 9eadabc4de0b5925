-- Requests for wrk: BENCH_BEFORE, the number of a table, BENCH_BETWEEN, the number of a request, BENCH_MIDDLE, a token
-- (the lines of the file BENCH_TOKENS in turn), BENCH_END. With BENCH_DISTINCT=1 no two requests have the same number,
-- so nothing can be shared.
local before, between = os.getenv("BENCH_BEFORE"), os.getenv("BENCH_BETWEEN")
local middle, ending = os.getenv("BENCH_MIDDLE"), os.getenv("BENCH_END")
local tables, distinct = tonumber(os.getenv("BENCH_TABLES")), tonumber(os.getenv("BENCH_DISTINCT"))
local number, sent, tokens = tonumber(os.getenv("BENCH_FIRST")), 0, {}
for line in io.lines(os.getenv("BENCH_TOKENS")) do
  tokens[#tokens + 1] = middle .. line .. ending
end

request = function()
  sent, number = sent + 1, number + distinct
  return before .. (number % tables) .. between .. number .. tokens[sent % #tokens + 1]
end
