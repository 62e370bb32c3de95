// Listens on HTTP_ADDR, and says so in a line of JSON.

export function listen(app) {
  const [host, port] = (process.env.HTTP_ADDR ?? '127.0.0.1:3000').split(':');
  const server = app.listen(Number(port), host, () => {
    const address = `${host}:${server.address().port}`;
    console.log(JSON.stringify({ message: 'listening', address }));
  });
}
