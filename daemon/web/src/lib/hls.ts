// What the live picture and the player share of hls.js: no worker, and patience with a device that asks to slow down.
import Hls, { type HlsConfig, type LoadPolicy } from "hls.js";

/** "Slow down": the one refusal that asking again later does cure. */
const TOO_MANY_REQUESTS = 429;

function patient(policy: LoadPolicy): LoadPolicy {
  const { errorRetry } = policy.default;
  if (!errorRetry) return policy;
  return {
    default: {
      ...policy.default,
      errorRetry: {
        ...errorRetry,
        shouldRetry: (_config, tried, _timeout, response, retry) =>
          retry || (response?.code === TOO_MANY_REQUESTS && tried < errorRetry.maxNumRetry),
      },
    },
  };
}

export const HLS_CONFIG: Partial<HlsConfig> = {
  // fMP4 needs no remuxing off the main thread, and the content policy then needs no worker.
  enableWorker: false,
  fragLoadPolicy: patient(Hls.DefaultConfig.fragLoadPolicy),
  playlistLoadPolicy: patient(Hls.DefaultConfig.playlistLoadPolicy),
  manifestLoadPolicy: patient(Hls.DefaultConfig.manifestLoadPolicy),
};
