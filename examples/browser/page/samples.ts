/** Photographs to try: a cat, and pictures of 32 x 32 that the page's own model was tested with. */
import cat from "../../../test/fixtures/preprocess/images/cat.png?url";
import airplane from "../../../test/fixtures/vit-cifar10/photos/airplane-01.png?url";
import automobile from "../../../test/fixtures/vit-cifar10/photos/automobile-04.png?url";
import bird from "../../../test/fixtures/vit-cifar10/photos/bird-02.png?url";
import deer from "../../../test/fixtures/vit-cifar10/photos/deer-01.png?url";
import dog from "../../../test/fixtures/vit-cifar10/photos/dog-03.png?url";
import frog from "../../../test/fixtures/vit-cifar10/photos/frog-00.png?url";
import horse from "../../../test/fixtures/vit-cifar10/photos/horse-00.png?url";
import ship from "../../../test/fixtures/vit-cifar10/photos/ship-00.png?url";
import truck from "../../../test/fixtures/vit-cifar10/photos/truck-01.png?url";

export interface Sample {
  readonly name: string;
  readonly address: string;
}

export const samples: readonly Sample[] = Object.entries({ cat, airplane, automobile, bird, deer, dog, frog, horse, ship, truck }).map(([name, address]) => ({ name, address }));

/** The image file of a sample. */
export async function fetchSample({ name, address }: Sample): Promise<File> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address} could not be fetched: ${response.status}`);
  return new File([await response.blob()], `${name}.png`, { type: "image/png" });
}
