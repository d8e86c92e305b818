// A real Vendure on the loopback, kept in one SQLite file. Test use only.
// usage: VENDURE_DISABLE_TELEMETRY=true NODE_PATH=.../node_modules node server.js PORT DBFILE [SESSION_DURATION]
const { bootstrap, DefaultJobQueuePlugin, DefaultSearchPlugin, dummyPaymentHandler, JobQueueService } = require('@vendure/core');
const [port, database, sessionDuration] = [Number(process.argv[2]), process.argv[3], process.argv[4] || '1y'];
bootstrap({
  apiOptions: { hostname: '127.0.0.1', port, adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
  authOptions: {
    tokenMethod: ['bearer', 'api-key'],
    sessionDuration,
    superadminCredentials: { identifier: 'superadmin', password: 'test-only-password' },
  },
  customFields: {
    ProductVariant: [{ name: 'ean', type: 'string', nullable: true }],
    Customer: [{ name: 'vatNumber', type: 'string', nullable: true }],
  },
  dbConnectionOptions: { type: 'sqljs', synchronize: true, autoSave: true, location: database },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  plugins: [DefaultJobQueuePlugin.init({ pollInterval: 200 }), DefaultSearchPlugin.init({ bufferUpdates: false })],
}).then(async app => { await app.get(JobQueueService).start(); console.log('READY'); });
