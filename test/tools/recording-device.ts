/** A device that notes which of its `create...` methods are called, and does what the real one does. */
export function recording(device: GPUDevice, calls: string[]): GPUDevice {
  return new Proxy(device, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        if (typeof key === "string" && key.startsWith("create")) calls.push(key);
        return Reflect.apply(value, target, args);
      };
    },
  });
}
