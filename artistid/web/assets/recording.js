// The microphone, unprocessed: what makes speech clearer spoils music.

import {wavOf} from "./wav.js";

const PLAIN = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia) && "AudioWorkletNode" in window;

export class Recording {
  // Begins to record; onBlock(seconds, peak) is called for each block.
  static async begin(onBlock) {
    const stream = await navigator.mediaDevices.getUserMedia({audio: PLAIN});
    const context = new AudioContext();
    try {
      await context.audioWorklet.addModule(new URL("tap.js", import.meta.url));
      return new Recording(stream, context, onBlock);
    } catch (error) {
      stream.getTracks().forEach(track => track.stop());
      context.close();
      throw error;
    }
  }

  constructor(stream, context, onBlock) {
    this.stream = stream;
    this.context = context;
    this.blocks = [];
    let length = 0;
    const tap = new AudioWorkletNode(context, "tap", {numberOfOutputs: 0});
    tap.port.onmessage = ({data}) => {
      this.blocks.push(data);
      length += data.length;
      onBlock(length / context.sampleRate, data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0));
    };
    context.createMediaStreamSource(stream).connect(tap);
  }

  // Ends it; returns what was recorded.
  end() {
    const rate = this.context.sampleRate;
    this.stream.getTracks().forEach(track => track.stop());
    this.context.close();
    return new File([wavOf(this.blocks, rate)], "recording.wav", {type: "audio/wav"});
  }
}
