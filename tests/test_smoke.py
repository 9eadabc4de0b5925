async def test_a_token_reads_its_own_session(proxy, upstream, client):
    answer = await client.get(proxy.shape(), headers=proxy.bearer())
    assert answer.status_code == 200
    assert upstream.asked[0].params["params[1]"] == "s-ada"
