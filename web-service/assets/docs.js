// Shows the description of the API. By default Swagger UI sends it to a validator elsewhere: not here.
SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
