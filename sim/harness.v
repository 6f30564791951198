// SPDX-License-Identifier: Apache-2.0
//
// Streams a file of images through one network and writes down every logit, all inside the
// simulator: Python is woken once in a while, not once a clock.
//
// The first image goes through alone, which gives the latency; the others follow it back to back,
// which gives the cycles an image. `+stall_in` and `+stall_out` make the stream uneven instead.
//
// Macros:    NETWORK   module under test
//            IN_BYTES  bytes of an input beat (pixels a beat x channels)
//            IN_BEATS  input beats an image
//            OUT_BITS  bits of an output beat
//            WAVES     defined: Icarus records waves
// Plusargs:  +images=F     binary, IN_BEATS beats an image, the highest byte of a beat first
//            +count=N      number of images in it
//            +logits=F     text, one line an output beat: cycle, tdata, tuser, tlast
//            +starts=F     text, one line an image: the cycle that takes its first beat
//            +notify=N     `progress` toggles every N images
//            +watchdog=N   give up after N cycles without a beat taken or an image given
//            +stall_in=P   percentage of cycles before which the next input beat is held back
//            +stall_out=P  percentage of cycles in which the output is not ready
//            +seed=S       of the random stalls
//            +waves=F      where Icarus puts them
//            +together     the first image does not go through alone
//            +finish       end the simulation at the end: where no cocotb does that
// Cycles are counted from the end of reset; both files name the clock edge that moves the beat.

`timescale 1ns / 1ns

module harness;
    localparam integer IN_WIDTH = 8 * `IN_BYTES;

    // Read by cocotb, so they must survive optimisation; nothing else is public.
    reg progress /* verilator public_flat_rd */;
    reg done /* verilator public_flat_rd */;
    reg stuck /* verilator public_flat_rd */;
    reg [31:0] images_out /* verilator public_flat_rd */;
    reg [31:0] frame_errors /* verilator public_flat_rd */;
    reg [31:0] stalls /* verilator public_flat_rd */;

    reg clk;
    reg rst;
    reg [31:0] cycle;

    reg [IN_WIDTH-1:0] s_axis_tdata;
    reg s_axis_tvalid;
    reg s_axis_tlast;
    wire s_axis_tready;
    wire [`OUT_BITS-1:0] m_axis_tdata;
    wire m_axis_tvalid;
    wire m_axis_tlast;
    wire [15:0] m_axis_tuser;
    reg m_axis_tready;
    wire frame_error;

    `NETWORK dut (
        .clk(clk),
        .rst(rst),
        .s_axis_tdata(s_axis_tdata),
        .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .s_axis_tlast(s_axis_tlast),
        .m_axis_tdata(m_axis_tdata),
        .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready),
        .m_axis_tlast(m_axis_tlast),
        .m_axis_tuser(m_axis_tuser),
        .frame_error(frame_error),
        .signature()
    );

    // One image at a time is in memory.
    reg [IN_WIDTH-1:0] beats[0:`IN_BEATS-1];
    reg [31:0] beat;
    reg [31:0] images_in;
    reg first_beat;

    // 1023 characters of path.
    reg [8*1024-1:0] images_path;
    reg [8*1024-1:0] logits_path;
    reg [8*1024-1:0] starts_path;
    integer images_file;
    integer logits_file;
    integer starts_file;

    integer count;
    integer notify;
    integer watchdog;
    integer stall_in;
    integer stall_out;
    integer seed;
    integer idle;
    integer bytes;
    reg together;

    initial begin
        clk = 1'b0;
        rst = 1'b1;
        cycle = 0;
        progress = 1'b0;
        done = 1'b0;
        stuck = 1'b0;
        images_out = 0;
        frame_errors = 0;
        stalls = 0;
        s_axis_tdata = 0;
        s_axis_tvalid = 1'b0;
        s_axis_tlast = 1'b0;
        m_axis_tready = 1'b0;
        beat = 0;
        images_in = 0;
        first_beat = 1'b0;
        idle = 0;
        notify = 1;
        watchdog = 1000000;
        stall_in = 0;
        stall_out = 0;
        seed = 1;
        count = 0;
        together = $test$plusargs("together");
        bytes = $value$plusargs("count=%d", count);
        bytes = $value$plusargs("notify=%d", notify);
        bytes = $value$plusargs("watchdog=%d", watchdog);
        bytes = $value$plusargs("stall_in=%d", stall_in);
        bytes = $value$plusargs("stall_out=%d", stall_out);
        bytes = $value$plusargs("seed=%d", seed);
        bytes = $value$plusargs("images=%s", images_path);
        bytes = $value$plusargs("logits=%s", logits_path);
        bytes = $value$plusargs("starts=%s", starts_path);
        images_file = $fopen(images_path, "rb");
        logits_file = $fopen(logits_path, "w");
        starts_file = $fopen(starts_path, "w");
        #95 rst = 1'b0;
    end

    always #5 clk = ~clk;

`ifdef WAVES
    // Icarus alone; Verilator records waves by itself.
    reg [8*1024-1:0] waves_path;
    initial begin
        if ($value$plusargs("waves=%s", waves_path)) begin
            $dumpfile(waves_path);
            $dumpvars(0, harness);
        end
    end
`endif

    always @(posedge done) begin
        if ($test$plusargs("finish")) begin
            $display("stuck %b, frame errors %0d", stuck, frame_errors);
            $finish;
        end
    end

    // The second image waits until the first has left; after that nothing waits but for a stall.
    wire may_start = images_in < count && (together || images_in != 1 || images_out != 0);
    wire beat_moves = !s_axis_tvalid || s_axis_tready;

    always @(posedge clk) begin
        if (!rst) begin
            cycle <= cycle + 1;
            if (s_axis_tvalid && s_axis_tready && first_beat) begin
                $fwrite(starts_file, "%0d\n", cycle);
            end
            if (beat_moves) begin
                s_axis_tvalid <= 1'b0;
                if (beat != 0 || may_start) begin
                    if (stall_in == 0 || $unsigned($random(seed)) % 100 >= stall_in) begin
                        // Between images the memory is free: the next one is read in the very
                        // cycle that sends its first beat.
                        if (beat == 0) begin
                            bytes = $fread(beats, images_file);
                            images_in <= images_in + 1;
                        end
                        s_axis_tvalid <= 1'b1;
                        s_axis_tdata <= beats[beat];
                        s_axis_tlast <= beat == `IN_BEATS - 1;
                        first_beat <= beat == 0;
                        beat <= (beat == `IN_BEATS - 1) ? 0 : beat + 1;
                    end
                end
            end
        end
    end

    always @(posedge clk) begin
        if (!rst && !done) begin
            m_axis_tready <= stall_out == 0 || $unsigned($random(seed)) % 100 >= stall_out;
            idle <= idle + 1;
            if (s_axis_tvalid && s_axis_tready) begin
                idle <= 0;
            end
            // An unknown tvalid is a beat, too: its line shows the X.
            if (m_axis_tready && m_axis_tvalid !== 1'b0) begin
                $fwrite(logits_file, "%0d %h %h %b%b\n", cycle, m_axis_tdata, m_axis_tuser,
                        m_axis_tvalid, m_axis_tlast);
                if (m_axis_tlast && images_out != count) begin
                    idle <= 0;
                    images_out <= images_out + 1;
                    if ((images_out + 1) % notify == 0) begin
                        progress <= !progress;
                    end
                end
            end
            // Cycles lost on either side for no reason of the network's.
            stalls <= stalls
                + ((s_axis_tready && !s_axis_tvalid && (beat != 0 || may_start)) ? 1 : 0)
                + ((m_axis_tvalid === 1'b1 && !m_axis_tready) ? 1 : 0);
            if (frame_error !== 1'b0) begin
                frame_errors <= frame_errors + 1;
            end
            // A few cycles more than the last logit: nothing may follow it.
            if (idle >= watchdog || (images_out == count && idle >= 100)) begin
                stuck <= images_out != count;
                done <= 1'b1;
                progress <= !progress;
                $fclose(logits_file);
                $fclose(starts_file);
                $fclose(images_file);
            end
        end
    end
endmodule
