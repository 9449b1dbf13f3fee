// What tronweb does for the same transfers: contract call, raw data, transaction id, signature, and
// the bytes to send, without a node. Prints transfers, nanoseconds and a hash of all bytes.
'use strict';
const { createHash } = require('node:crypto');
const { TronWeb, utils } = require('tronweb');

const transfers = Number(process.argv[2]);
const key = '0101010101010101010101010101010101010101010101010101010101010101';
const token = '41a614f803b6fd780986a42c78ec9c7f77e6ded13c';
const owner = TronWeb.address.toHex(TronWeb.address.fromPrivateKey(key));

function transfer(n) {
  const payee = '41' + n.toString(16).padStart(40, '0');
  const parameter = utils.abi.encodeParams(['address', 'uint256'], [payee, 1000000 + n]);
  const transaction = {
    visible: false,
    raw_data: {
      contract: [{
        parameter: {
          value: {
            data: 'a9059cbb' + parameter.replace(/^0x/, ''),
            owner_address: owner,
            contract_address: token,
          },
          type_url: 'type.googleapis.com/protocol.TriggerSmartContract',
        },
        type: 'TriggerSmartContract',
      }],
      ref_block_bytes: '0102',
      ref_block_hash: '0304050607080900',
      expiration: 1760000600000,
      timestamp: 1760000000000 + n,
      fee_limit: 30000000,
    },
  };
  const message = utils.transaction.txJsonToPb(transaction);
  transaction.raw_data_hex = utils.transaction.txPbToRawDataHex(message).toLowerCase();
  transaction.txID = utils.transaction.txPbToTxID(message).replace(/^0x/, '');
  const signed = utils.crypto.signTransaction(key, transaction);
  return transaction.raw_data_hex + signed.signature[0].toLowerCase();
}

for (let n = 1; n <= 100; n += 1) transfer(n); // the compiler has seen it all by then
const hash = createHash('sha256');
const begun = process.hrtime.bigint();
for (let n = 1; n <= transfers; n += 1) hash.update(transfer(n));
const took = process.hrtime.bigint() - begun;
console.log(`${transfers} ${took} ${hash.digest('hex')}`);
